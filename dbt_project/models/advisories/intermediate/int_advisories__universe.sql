-- One row per advisory: each pair of a package and an id in the vendor's feed, or in a ruling that
-- names a package. Names are compared in lower case; of a pair that the feed lists in two spellings
-- the last one counts.
with feed as (

    select * from {{ ref('stg_advisories__echo') }}

),

spellings as (

    select * from {{ ref('int_advisories__spellings') }}

),

rulings as (

    select * from {{ ref('int_advisories__rulings') }}
    where package_key is not null

),

mentions as (

    select
        package_key,
        cve_id,
        true as is_listed,
        fixed_version as vendor_version,
        is_sentinel as is_vendor_sentinel,
        severity as vendor_severity,
        source_record as vendor_record,
        source_row as mention_order,
    from feed
    union all by name
    select
        package_key,
        cve_id,
        false as is_listed,
        false as is_vendor_sentinel,
        source_row as mention_order,
    from rulings

),

pairs as (

    select
        * exclude (mention_order),
        try_cast(regexp_extract(cve_id, '^CVE-(\d{4})-', 1) as integer) as id_year,
    from mentions
    qualify row_number() over (
        partition by package_key, cve_id
        order by is_listed desc, mention_order desc
    ) = 1

),

advisories as (

    select
        spellings.package_name || ':' || pairs.cve_id as advisory_id,
        spellings.package_name,
        pairs.*,
    from pairs
    inner join spellings on pairs.package_key = spellings.package_key

)

select * from advisories
