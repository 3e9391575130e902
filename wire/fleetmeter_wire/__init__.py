"""What travels: the envelope, and one adapter a platform."""
