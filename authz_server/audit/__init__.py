"""The record of every decision: its form, the ring it crosses and the file it ends in."""
