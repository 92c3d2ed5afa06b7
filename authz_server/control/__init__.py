"""The control process: settings, policies, keys, workers, audit file and admin address."""
