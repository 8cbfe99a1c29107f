-- One row per table and moment at which rows of it came, changed or went.
with versions as (

    select * from {{ ref('mart_table_row_history') }}

),

movements as (

    select
        table_name,
        row_id,
        effective_from as changed_at,
        1 as came,
        0 as went,
    from versions
    union all
    select
        table_name,
        row_id,
        effective_to as changed_at,
        0 as came,
        1 as went,
    from versions
    where effective_to is not null

),

by_row as (

    select
        table_name,
        changed_at,
        row_id,
        sum(came) as came,
        sum(went) as went,
    from movements
    group by table_name, changed_at, row_id

),

by_table as (

    select
        table_name,
        changed_at,
        count(*) filter (where came > went) as added_count,
        count(*) filter (where came = went) as changed_count,
        count(*) filter (where came < went) as removed_count,
    from by_row
    group by table_name, changed_at

),

counted as (

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
    from by_table

)

select * from counted
