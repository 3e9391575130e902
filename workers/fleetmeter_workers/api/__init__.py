"""The region's API: its status for the operator, and usage, invoices and registry for people and scripts."""
