"""What the project keeps."""

from django.db import models


class Note(models.Model):
    """A line of text."""

    text = models.CharField(max_length=200)


class Label(models.Model):
    """A name that only one has, on a note or on none."""

    name = models.CharField(max_length=200, unique=True)
    note = models.ForeignKey(Note, models.CASCADE, null=True)
