{#- Fails with the keys that occur twice, or hold a null where `nullable` does not allow one. -#}
{% test unique_key(model, columns, nullable=false) %}

select
    {{ columns | join(', ') }},
    count(*) as occurrences
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1{% if not nullable %} or {{ columns | join(' is null or ') }} is null{% endif %}

{% endtest %}
