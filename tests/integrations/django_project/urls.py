"""Where the views are."""

from django.urls import path

from . import views

urlpatterns = [
    path("notes", views.notes, name="notes"),
    path("api/notes", views.APINotes.as_view()),
    path("token", views.token),
    path("visits", views.visits),
    path("whoami", views.whoami),
    path("raise", views.raise_after_a_query),
    path("torn", views.torn),
    path("meet", views.meet),
]
