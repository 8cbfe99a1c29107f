{#- Fails with the rows, called `tested`, for which a condition holds: the offenders, by the columns
    that name them where those are given. -#}
{% test no_rows_where(model, condition, named_by=none) %}

select {{ named_by | join(', ') if named_by else '*' }}
from {{ model }} as tested
where {{ condition }}

{% endtest %}
