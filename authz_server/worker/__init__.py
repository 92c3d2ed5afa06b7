"""The data-plane process: answers Check and nothing else."""
