{#- The periods of a state (SCD2) as a pure function of the last published history, the states of
    now and the logical time. The three arguments name relations or CTEs: `published` holds `columns` and
    effective_from, effective_to, is_current; `states` holds `columns`, one row per `key`; `run` holds
    as_of, one row. A period ends when a `watched` column changes or the key is gone; the other
    columns say how a period began and stay as they are. -#}
{% macro history(published, states, run, key, watched, columns) -%}
    select
        {% for column in columns %}published.{{ column }}, {% endfor %}
        published.effective_from,
        published.effective_to,
        published.is_current
    from {{ published }} as published
    where not published.is_current
    union all
    select
        {% for column in columns %}published.{{ column }}, {% endfor %}
        published.effective_from,
        case when not {{ _unchanged(watched, key) }} then run.as_of end as effective_to,
        {{ _unchanged(watched, key) }} as is_current
    from {{ published }} as published
    cross join {{ run }} as run
    left join {{ states }} as states on published.{{ key }} = states.{{ key }}
    where published.is_current
    union all
    select
        {% for column in columns %}states.{{ column }}, {% endfor %}
        run.as_of as effective_from,
        null as effective_to,
        true as is_current
    from {{ states }} as states
    cross join {{ run }} as run
    left join {{ published }} as published
        on states.{{ key }} = published.{{ key }} and published.is_current
    where
        published.{{ key }} is null
        or not {{ _unchanged(watched, key) }}
{%- endmacro %}

{% macro _unchanged(watched, key) -%}
    (
        states.{{ key }} is not null
        and row(states.{{ watched | join(', states.') }})
        is not distinct from row(published.{{ watched | join(', published.') }})
    )
{%- endmacro %}

{#- Time travel: the periods of a history that held at a moment, at most one per key. `at` is an SQL
    expression of a time, such as timestamptz '2026-03-01 12:00:00+00'. -#}
{% macro history_at(history, at) -%}
    select *
    from {{ history }}
    where
        effective_from <= {{ at }}
        and (effective_to is null or effective_to > {{ at }})
{%- endmacro %}
