"""The machine behind the exercises: what an exercise is, and how an answer is judged."""
