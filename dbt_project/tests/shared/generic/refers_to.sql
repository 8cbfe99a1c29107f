{#- Fails with the values of a column that another model's column does not have, and how often each
    occurs. Nulls pass. The relationships test of dbt returns a row per occurrence instead. -#}
{% test refers_to(model, column_name, to, field) %}

select
    {{ column_name }},
    'rows: ' || count(*) as occurrences
from {{ model }}
where {{ column_name }} is not null and {{ column_name }} not in (
    select {{ field }} from {{ to }} where {{ field }} is not null
)
group by {{ column_name }}
order by {{ column_name }}

{% endtest %}
