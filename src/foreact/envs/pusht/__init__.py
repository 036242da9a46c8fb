"""Push-T: gym-pusht with a scripted pusher."""
