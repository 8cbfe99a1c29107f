{#- Fails with the rows for which a condition holds: the offenders. -#}
{% test no_rows_where(model, condition) %}

select *
from {{ model }}
where {{ condition }}

{% endtest %}
