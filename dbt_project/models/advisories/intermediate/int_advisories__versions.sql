-- One row per version that is compared: its sort key and lineage. The vendor marks its rebuilds by
-- +eN or -eN; the mark is no part of the version, so the key leaves it out.
with named as (

    select vendor_version as version
    from {{ ref('int_advisories__universe') }}
    union
    select fixed_version as version
    from {{ ref('int_advisories__rulings_matched') }}
    union
    select fixed_version as version
    from {{ ref('int_advisories__upstream_rows') }}
    union
    select open_from_version as version
    from {{ ref('int_advisories__upstream_rows') }}

),

stripped as (

    select
        version,
        regexp_replace(version, '[+-]e[0-9]+$', '') as base_version,
        try_cast(regexp_extract(version, '[+-]e([0-9]+)$', 1) as bigint) as rebuild_number,
    from named
    where version is not null

),

keyed as (

    select
        version,
        {{ deb_key('base_version') }} as version_key,
        rebuild_number,
        case
            when rebuild_number is not null then 'vendor'
            else coalesce(
                nullif(regexp_extract(version, '[+~](deb[0-9]+)u[0-9]+', 1), ''), 'plain'
            )
        end as lineage,
    from stripped

)

select * from keyed
