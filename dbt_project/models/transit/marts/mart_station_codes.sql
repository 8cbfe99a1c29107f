-- One row per code of a station that has exits: a stop of a line.
with codes as (

    select * from {{ ref('int_transit__codes') }}

),

stations as (

    select * from {{ ref('int_transit__stations_placed') }}

),

stops as (

    select
        codes.code,
        stations.station_id,
        stations.display_name,
        codes.line_code,
        codes.line_name,
        codes.mode,
        codes.color,
        codes.line_order,
        codes.prefix,
        codes.number_on_line,
    from codes
    inner join stations on codes.name_key = stations.name_key
    where codes.line_code is not null

)

select * from stops
