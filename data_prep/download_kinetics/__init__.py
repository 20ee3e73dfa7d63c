"""Download Kinetics from the archives of CVDF or from a mirror."""
