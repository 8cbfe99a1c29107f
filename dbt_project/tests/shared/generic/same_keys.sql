{#- Fails with the keys that a model lacks or adds, compared with another model. -#}
{% test same_keys(model, to, columns, to_columns=none, where='true', to_where='true') %}

with actual_keys as (

    select {{ columns | join(', ') }}
    from {{ model }}
    where {{ where }}

),

expected_keys as (

    select {{ (to_columns or columns) | join(', ') }}
    from {{ to }}
    where {{ to_where }}

)

(
    select 'missing' as fault, * from expected_keys
    except all
    select 'missing' as fault, * from actual_keys
)
union all
(
    select 'unexpected' as fault, * from actual_keys
    except all
    select 'unexpected' as fault, * from expected_keys
)

{% endtest %}
