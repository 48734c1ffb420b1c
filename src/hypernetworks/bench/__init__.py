"""`hypernetworks bench`: speed and memory of every network and path, compared with torch and other implementations."""
