"""A page in which a person drives the imagination, beside the real simulator where there is one."""
