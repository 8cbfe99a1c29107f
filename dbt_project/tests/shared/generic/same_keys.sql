{#- Fails with the keys that a model lost or made up, measured against another one. -#}
{% test same_keys(model, to, columns, to_columns=none, where='true') %}

with held as (

    select {{ columns | join(', ') }}
    from {{ model }}
    where {{ where }}

),

wanted as (

    select {{ (to_columns or columns) | join(', ') }}
    from {{ to }}

)

(select 'lost' as fault, * from wanted except all select 'lost' as fault, * from held)
union all
(select 'made up' as fault, * from held except all select 'made up' as fault, * from wanted)

{% endtest %}
