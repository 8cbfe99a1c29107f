{#- The changes of a history in order: one row per key and publication that changed it. Rows of the
    oldest publications are folded into a snapshot, with change number 0: the rows that were current
    at the last of them. At least `pages` publications stay, and as many are folded at once that the
    snapshot is seldom written. A row follows from the history alone, so a replay makes the same.
    The key is to be the same for all spellings of a name. -#}
{% macro change_feed(history, key, columns, pages) -%}
    with periods as (

        select
            *,
            lead(effective_from) over (
                partition by {{ key | join(', ') }} order by effective_from
            ) as next_from,
        from {{ history }}

    ),

    changes as (

        select
            effective_from as published_at,
            {{ key | join(', ') }},
            false as is_removed,
            {{ columns | join(', ') }},
        from periods
        union all by name
        -- A period that ends without a next one at the same moment: the row was gone.
        select
            effective_to as published_at,
            {{ key | join(', ') }},
            true as is_removed,
        from periods
        where not is_current and next_from is distinct from effective_to

    ),

    publications as (

        select
            published_at,
            row_number() over (order by published_at) as publication_number,
            count(*) over () as publication_count,
        from (select distinct published_at from changes)

    ),

    folded as (

        select
            max(published_at) as last_at,
        from publications
        -- The first publication is a snapshot too.
        where
            publication_number
            <= 1 + greatest(publication_count - 1 - {{ pages }}, 0)
            // {{ [pages // 10, 1] | max }} * {{ [pages // 10, 1] | max }}

    ),

    snapshot as (

        select
            folded.last_at as published_at,
            0 as change_number,
            {{ key | join(', ') }},
            false as is_removed,
            {{ columns | join(', ') }},
        from periods
        cross join folded
        where
            effective_from <= folded.last_at
            and (effective_to is null or effective_to > folded.last_at)

    ),

    later_changes as (

        select
            changes.published_at,
            row_number() over (
                partition by changes.published_at order by {{ key | join(', ') }}
            ) as change_number,
            changes.* exclude (published_at),
        from changes
        cross join folded
        where changes.published_at > folded.last_at

    )

    select * from snapshot
    union all by name
    select * from later_changes
{%- endmacro %}
