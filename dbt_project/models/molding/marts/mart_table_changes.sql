-- One row per table and time at which rows of it were added, changed or removed.
with versions as (

    select * from {{ ref('mart_table_row_history') }}

),

version_bounds as (

    select
        table_name,
        row_id,
        effective_from as changed_at,
        1 as starts,
        0 as ends,
    from versions
    union all
    select
        table_name,
        row_id,
        effective_to as changed_at,
        0 as starts,
        1 as ends,
    from versions
    where effective_to is not null

),

row_changes as (

    select
        table_name,
        changed_at,
        row_id,
        sum(starts) as starts,
        sum(ends) as ends,
    from version_bounds
    group by table_name, changed_at, row_id

),

table_changes as (

    select
        table_name,
        changed_at,
        count(*) filter (where starts > ends) as added_count,
        count(*) filter (where starts = ends) as changed_count,
        count(*) filter (where starts < ends) as removed_count,
    from row_changes
    group by table_name, changed_at

),

changes_with_row_count as (

    select
        table_name,
        changed_at,
        (sum(added_count - removed_count) over (
            partition by table_name
            order by changed_at
        ))::bigint as rows_count,
        added_count,
        changed_count,
        removed_count,
    from table_changes

)

select * from changes_with_row_count
