-- One row per advisory: each pair of a package and an id in the vendor's feed, or in a ruling that
-- names a package. Names are compared in lower case and published in the feed's spelling.
with feed as (

    select * from {{ ref('stg_advisories__echo') }}

),

rulings as (

    select * from {{ ref('stg_advisories__overrides') }}
    where package_key is not null

),

mentions as (

    select
        package_key,
        cve_id,
        package_name,
        true as is_listed,
        fixed_version as vendor_version,
        is_sentinel as is_vendor_sentinel,
        severity as vendor_severity,
        source_sha256 as vendor_sha256,
        source_row as vendor_row,
        source_row as mention_order,
    from feed
    union all by name
    select
        package_key,
        cve_id,
        package_name,
        false as is_listed,
        false as is_vendor_sentinel,
        source_row as mention_order,
    from rulings

),

advisories as (

    select
        package_name || ':' || cve_id as advisory_id,
        * exclude (mention_order),
        try_cast(regexp_extract(cve_id, '^CVE-(\d{4})-', 1) as integer) as id_year,
    from mentions
    qualify row_number() over (
        partition by package_key, cve_id
        order by is_listed desc, mention_order
    ) = 1

)

select * from advisories
