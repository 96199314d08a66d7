"""What training costs on hardware that is not here."""
