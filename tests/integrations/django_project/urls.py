"""Where the views are."""

from django.urls import path

from . import groups, views

urlpatterns = [
    path("notes", views.notes, name="notes"),
    path("api/notes", views.APINotes.as_view()),
    path("photos", views.photos),
    path("token", views.token),
    path("visits", views.visits),
    path("whoami", views.whoami),
    path("raise", views.raise_after_a_query),
    path("torn", views.torn),
    path("meet", views.meet),
    path("groups/texts", groups.texts),
    path("groups/streamed", groups.streamed),
    path("groups/asynchronous", groups.asynchronous),
    path("groups/<str:way>", groups.add),
]
