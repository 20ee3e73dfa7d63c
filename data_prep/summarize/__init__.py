"""Write one HTML page that shows what a data set contains."""
