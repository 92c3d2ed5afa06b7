"""Development identities, sample services and the demo."""
