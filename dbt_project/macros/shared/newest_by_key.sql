{#- Selects the newest row per business key, with all columns; a null in the key is a value like any
    other. `order` lists the columns to order by, in descending order. -#}
{% macro newest_by_key(relation, key, order) -%}
    select *
    from {{ relation }}
    qualify
        row_number() over (
            partition by {{ key | join(', ') }}
            order by {{ order | join(' desc, ') }} desc
        ) = 1
{%- endmacro %}
