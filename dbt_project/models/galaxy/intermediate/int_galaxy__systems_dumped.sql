-- One row per system in a dump: its newest report. Of equally new ones the larger dump counts.
with last_day_systems as (

    select * from {{ ref('stg_galaxy__systems') }}

),

all_systems as (

    select * from {{ ref('stg_galaxy__systems_all') }}

),

dump_rows as (

    select
        *,
        2 as preference,
    from last_day_systems
    union all
    select
        *,
        1 as preference,
    from all_systems

),

newest_reports as (

    select * exclude (preference)
    from dump_rows
    qualify row_number() over (
        partition by id64
        order by updated_at desc, preference
    ) = 1

)

select * from newest_reports
