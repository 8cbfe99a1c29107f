{#- Fails with the rows for which a condition holds; the condition may call the row `tested`. The
    failing rows have the columns in `named_by`, or all. -#}
{% test no_rows_where(model, condition, named_by=none) %}

select {{ named_by | join(', ') if named_by else '*' }}
from {{ model }} as tested
where {{ condition }}

{% endtest %}
