-- One row per advisory that the vendor's feed lists: the lowest-ranked claim, so that each of them
-- has at least one.
with universe as (

    select * from {{ ref('int_advisories__universe') }}

),

first_seen as (

    select * from {{ ref('int_advisories__first_seen') }}

),

listing_claims as (

    select
        universe.advisory_id,
        'echo' as source,
        case
            when universe.id_year <= year(first_seen.first_seen) - 2 then 'vendor_listed_old'
            else 'vendor_listed'
        end as claim,
        universe.id_year::varchar as detail,
        universe.advisory_id as record_id,
        universe.vendor_record as source_record,
    from universe
    inner join first_seen on universe.advisory_id = first_seen.advisory_id
    where universe.is_listed

)

select * from listing_claims
