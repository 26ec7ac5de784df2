# SPDX-License-Identifier: MIT
"""What gen-probes.py is made of: the table (table) and what is generated from it (c, text)."""
