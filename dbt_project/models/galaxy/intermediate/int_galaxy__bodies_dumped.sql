-- One row per body in a dump: its newest report.
with last_day_bodies as (

    select * from {{ ref('stg_galaxy__bodies') }}

),

populated_bodies as (

    select * from {{ ref('stg_galaxy__populated_bodies') }}

),

dump_rows as (

    select
        *,
        1 as preference,
    from last_day_bodies
    union all
    select
        *,
        2 as preference,
    from populated_bodies

),

newest_reports as (

    select * exclude (preference)
    from dump_rows
    qualify row_number() over (
        partition by system_id64, body_id
        order by updated_at desc, preference
    ) = 1

)

select * from newest_reports
