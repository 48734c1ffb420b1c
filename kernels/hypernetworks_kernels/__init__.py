"""The native kernels of hypernetworks, compiled for x86-64: libraries that hypernetworks finds here, each with its manifest."""
