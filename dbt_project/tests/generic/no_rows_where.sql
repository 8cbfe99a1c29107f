{#- Fails with the rows, called `tested`, for which a condition holds: the offenders. -#}
{% test no_rows_where(model, condition) %}

select *
from {{ model }} as tested
where {{ condition }}

{% endtest %}
