-- One row per claim of an answer, with the exits that it is about; none if the source has no such
-- exit.
with claims as (

    select * from {{ ref('int_transit__claims') }}

),

stations as (

    select * from {{ ref('int_transit__stations_placed') }}

),

numbered_claims as (

    select
        coalesce(stations.station_id, claims.name_key) as station_id,
        row_number() over (
            partition by coalesce(stations.station_id, claims.name_key)
            order by claims.source_row, claims.claim, claims.claimed_exit_code
        ) as claim_number,
        claims.requested_name as asked_name,
        claims.claim,
        claims.claimed_exit_code as told_exit_code,
        claims.exit_ids,
        claims.claimed_exit_code is null or len(claims.exit_ids) > 0 as is_placed,
        claims.extraction_confidence,
        case claims.claim
            when 'station' then array_to_string(claims.accessibility_notes, ', ')
            when 'exit'
                then
                    concat_ws(
                        '; ',
                        array_to_string(claims.accessibility, ', '),
                        array_to_string(claims.nearby_landmarks, ', ')
                    )
            when 'platform'
                then
                    concat_ws(
                        ' ',
                        claims.platform_code,
                        'towards ' || claims.towards_code,
                        claims.claimed_line_code
                    )
            else concat_ws(
                ': ', claims.bus_stop_code, array_to_string(claims.bus_services, ', ')
            )
        end as says,
        claims.answered_at,
        claims.source_sha256,
        claims.source_row,
    from claims
    left join stations on claims.name_key = stations.name_key

)

select * from numbered_claims
