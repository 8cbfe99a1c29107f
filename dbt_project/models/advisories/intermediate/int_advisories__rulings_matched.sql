-- One row per advisory to which a ruling applies. A ruling that names the package takes precedence
-- over one that does not; of two equal ones the later in the file does.
with universe as (

    select * from {{ ref('int_advisories__universe') }}

),

rulings as (

    select * from {{ ref('int_advisories__rulings') }}

),

matching_rulings as (

    select
        universe.advisory_id,
        universe.package_key,
        universe.vendor_version,
        rulings.status,
        rulings.fixed_version,
        rulings.reason,
        rulings.expires_at,
        rulings.ruled_by,
        {{ ruling_id('rulings') }} as record_id,
        rulings.source_record,
    from universe
    inner join rulings
        on
            universe.cve_id = rulings.cve_id
            and universe.package_key = coalesce(rulings.package_key, universe.package_key)
    qualify row_number() over (
        partition by universe.advisory_id
        order by rulings.package_key is null, rulings.source_row desc
    ) = 1

)

select * from matching_rulings
