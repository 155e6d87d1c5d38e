"""The checks, grouped by subject; each function is one."""
