# libnpu
