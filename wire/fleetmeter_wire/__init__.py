"""What travels: the envelope, the record's headers, and one adapter a platform; pure."""
