"""What the project keeps."""

from django.db import models


class Note(models.Model):
    """A line of text."""

    text = models.CharField(max_length=200)


class Label(models.Model):
    """A name that only one has, on a note or on none."""

    name = models.CharField(max_length=200, unique=True)
    note = models.ForeignKey(Note, models.CASCADE, null=True)


class Shelf(models.Model):
    """Where books are."""

    place = models.CharField(max_length=200)


class Case(Shelf):
    """A shelf that can be locked: a row of two tables."""

    locked = models.BooleanField(default=False)


class OldCase(Case):
    """The same by another name."""

    class Meta:
        proxy = True


class Book(models.Model):
    """It may be on several shelves."""

    title = models.CharField(max_length=200, unique=True)
    shelves = models.ManyToManyField(Shelf)
