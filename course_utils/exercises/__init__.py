"""Exercises that answer: `from course_utils.exercises import introduction as ex`, one module for
each notebook. `ex.add_noise.check(my_add_noise)`, `.hint()`, `.solution()`, and `ex.progress()`.
"""
