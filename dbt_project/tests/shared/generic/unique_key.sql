{#- Fails with the keys that occur more than once, and those with a null unless `nullable`. -#}
{% test unique_key(model, columns, nullable=false) %}

select
    {{ columns | join(', ') }},
    count(*) as occurrences
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1{% if not nullable %} or {{ columns | join(' is null or ') }} is null{% endif %}

{% endtest %}
