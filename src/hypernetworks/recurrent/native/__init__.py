"""The kernels of the native path: C++ on the CPU, a whole layer in one call, forward and backward."""
