from videoctx.cli import main

main()
