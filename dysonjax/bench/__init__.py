"""Throughput on this machine, beside what a user would write instead. Each module measures one model."""
