{#- Of rows with one business key the newest, all columns; an empty part of a key is a value like
    others. `order` names the columns that tell which of two rows is newer, the first before the
    next. -#}
{% macro newest_by_key(relation, key, order) -%}
    select *
    from {{ relation }}
    qualify
        row_number() over (
            partition by {{ key | join(', ') }}
            order by {{ order | join(' desc, ') }} desc
        ) = 1
{%- endmacro %}
