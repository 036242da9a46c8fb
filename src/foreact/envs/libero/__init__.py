"""LIBERO: a Panda on tables and in kitchens, forty tasks told in words."""
