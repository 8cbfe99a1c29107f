-- One row per package and version that any source names for it: the version's sort key and lineage.
-- A rebuild has a declared mark, a number and possibly a tail of its own: 1.0-1+e2~deb12u1.
{%- set marks = var('rebuild_marks', ['+e', '-e']) | map('replace', '+', '\\+') | join('|') %}
{%- set rebuild = '(?:' ~ marks ~ ')([0-9]+)(?:[+~][a-zA-Z0-9.+~]*)?$' %}
with all_versions as (

    select
        package_key,
        vendor_version as version,
    from {{ ref('int_advisories__universe') }}
    union
    select
        package_key,
        fixed_version as version,
    from {{ ref('int_advisories__rulings_matched') }}
    union
    select
        package_key,
        fixed_version as version,
    from {{ ref('int_advisories__upstream_rows') }}

),

base_versions as (

    select
        package_key,
        version,
        -- The vendor marks its rebuilds by +eN or -eN. A rebuild has the fixes of the version that
        -- it was built from, so the mark takes no part in comparisons.
        regexp_replace(version, '{{ rebuild }}', '') as base_version,
        try_cast(regexp_extract(version, '{{ rebuild }}', 1) as bigint) as rebuild_number,
    from all_versions
    where version is not null

),

versions as (

    select
        package_key,
        version,
        {{ deb_key('base_version') }} as version_key,
        rebuild_number,
        case
            when rebuild_number is not null then 'vendor'
            else coalesce(
                nullif(regexp_extract(version, '[+~](deb[0-9]+)u[0-9]+', 1), ''), 'plain'
            )
        end as lineage,
    from base_versions

)

select * from versions
