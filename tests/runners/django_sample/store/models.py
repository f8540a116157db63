from django.db import models


class Kind(models.Model):
    name = models.CharField(max_length=20, unique=True)


class Order(models.Model):
    customer = models.CharField(max_length=50)
    kind = models.ForeignKey(Kind, on_delete=models.CASCADE)
