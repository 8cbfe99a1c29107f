{#- The periods of a state (a slowly changing dimension of type 2), computed from the last published
    periods, the current states and the run's logical time; dbt snapshots would read the clock.
    The first three arguments are relations or CTEs: `published_periods` has `columns`,
    effective_from, effective_to and is_current; `states` has `columns` and one row per `key`;
    `run` has one row with as_of. A period ends when one of the columns in `watched` changes or the
    key is gone. The other columns describe the start of the period and do not change in it. -#}
{% macro history(published_periods, states, run, key, watched, columns) -%}
    -- Periods that ended before.
    select
        {% for column in columns %}published.{{ column }}, {% endfor %}
        published.effective_from,
        published.effective_to,
        published.is_current
    from {{ published_periods }} as published
    where not published.is_current
    union all
    -- Periods that were current, and last or end now.
    select
        {% for column in columns %}published.{{ column }}, {% endfor %}
        published.effective_from,
        case when not {{ _unchanged(watched, key) }} then run.as_of end as effective_to,
        {{ _unchanged(watched, key) }} as is_current
    from {{ published_periods }} as published
    cross join {{ run }} as run
    left join {{ states }} as states on published.{{ key }} = states.{{ key }}
    where published.is_current
    union all
    -- Periods that begin now.
    select
        {% for column in columns %}states.{{ column }}, {% endfor %}
        run.as_of as effective_from,
        null as effective_to,
        true as is_current
    from {{ states }} as states
    cross join {{ run }} as run
    left join {{ published_periods }} as published
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

{#- The periods of a history at a given time, at most one per key. `at` is an SQL expression such
    as timestamptz '2026-03-01 12:00:00+00'. -#}
{% macro history_at(history, at) -%}
    select *
    from {{ history }}
    where
        effective_from <= {{ at }}
        and (effective_to is null or effective_to > {{ at }})
{%- endmacro %}
