-- One row per thing that is expected of the network: what was found, whether that is right, and
-- what speaks against it. The gate refuses what fails.
with expected_counts as (

    select * from {{ ref('expected_counts') }}

),

stations as (

    select * from {{ ref('mart_stations') }}

),

exits as (

    select * from {{ ref('mart_exits') }}

),

stops as (

    select * from {{ ref('mart_station_codes') }}

),

names_compared as (

    select * from {{ ref('int_transit__names_compared') }}

),

stations_counted as (

    select count(*) as found from stations

),

names as (

    select
        1 as place,
        'station names' as check_name,
        any_value(stations_counted.found)::varchar as found,
        list_sort(
            list(concat(names_compared.fault, ' ', names_compared.station_name))
            filter (where names_compared.fault is not null)
        ) as offenders,
    from stations_counted
    left join names_compared on true

),

lines as (

    select
        2 as place,
        'lines' as check_name,
        count(distinct line_code)::varchar as found,
        null::varchar[] as offenders,
        list_sort(list(distinct line_code)) as there,
    from stops

),

codes_without_line as (

    select
        3 as place,
        'codes without a line' as check_name,
        count(*)::varchar as found,
        list_sort(list(code)) as offenders,
    from {{ ref('int_transit__codes') }}
    where line_code is null

),

stations_without_code as (

    select
        4 as place,
        'stations without a code or a line' as check_name,
        count(*)::varchar as found,
        list_sort(list(official_name)) as offenders,
    from stations
    where
        not regexp_matches(station_id, '^[A-Z]{1,3}[0-9]+$')
        or len(mrt_codes) = 0
        or len(lines) = 0

),

parts_far_away as (

    select
        5 as place,
        'parts of a station over 800 m apart' as check_name,
        count(*)::varchar as found,
        list_sort(list(concat(part, ' (', round(distance_m)::bigint, ' m)'))) as offenders,
    from {{ ref('int_transit__parts_apart') }}
    where distance_m > {{ var('match_distance_m', 800) }}

),

exits_out_of_bounds as (

    select
        6 as place,
        'exits out of bounds' as check_name,
        count(*)::varchar as found,
        list_sort(list(concat(station_id, ' ', exit_id))) as offenders,
    from exits
    where latitude_degrees not between 1 and 2 or longitude_degrees not between 103 and 105

),

enrichment as (

    select status
    from {{ ref('stg_transit__source_health') }}
    where source = 'station_answers'

),

coverage as (

    select
        count(extraction_confidence) / greatest(count(*), 1) as share,
        list_sort(list(official_name) filter (where extraction_confidence is null)) as offenders,
    from stations

),

covered as (

    select
        7 as place,
        'share of stations with an answer' as check_name,
        concat('at least ', {{ var('min_coverage', 0.7) }}) as expected,
        round(coverage.share, 3)::varchar as found,
        case
            when enrichment.status = 'off' then 'not applicable'
            when coverage.share >= {{ var('min_coverage', 0.7) }} then 'pass'
            else 'fail'
        end as verdict,
        if(
            enrichment.status = 'off',
            'the enrichment is off, as its key is not set',
            array_to_string(coverage.offenders[:20], ', ')
        ) as note,
    from coverage
    cross join enrichment

),

all_checks as (

    select * from names
    union all by name
    select * from lines
    union all by name
    select * from codes_without_line
    union all by name
    select * from stations_without_code
    union all by name
    select * from parts_far_away
    union all by name
    select * from exits_out_of_bounds

),

judged as (

    select
        all_checks.place,
        all_checks.check_name,
        coalesce(expected_counts.expected, 0)::varchar as expected,
        all_checks.found,
        if(
            all_checks.found = coalesce(expected_counts.expected, 0)::varchar
            and len(coalesce(all_checks.offenders, [])) = 0,
            'pass',
            'fail'
        ) as verdict,
        case
            when len(all_checks.offenders) > 0 then array_to_string(all_checks.offenders, ', ')
            when all_checks.found != coalesce(expected_counts.expected, 0)::varchar
                then coalesce(
                    'there are ' || array_to_string(all_checks.there, ', '),
                    'nothing known is missing, nothing unknown is there: see expected_counts.csv'
                )
        end as note,
    from all_checks
    left join expected_counts on all_checks.check_name = expected_counts.measure
    union all
    select * from covered

)

select * from judged
